package portcullis.session_kill_test

import data.portcullis.session.session_kill.deny as no_session
import data.portcullis.statement.session_kill.alert
import data.portcullis.statement.session_kill.deny
import data.portcullis.statement.session_kill.oblige

ask(who, groups) := {"identity": {"name": who, "file": who, "groups": groups}}

stop := {"identities": ["bot"], "groups": ["contractors"]}

stopped(who, groups) if {
	count(no_session) == 1 with input as ask(who, groups) with data.session_kill as stop
	count(deny) == 1 with input as ask(who, groups) with data.session_kill as stop
	count(alert) == 1 with input as ask(who, groups) with data.session_kill as stop
	oblige == {"end_session"} with input as ask(who, groups) with data.session_kill as stop
}

test_by_name_and_by_group if {
	stopped("bot", [])
	stopped("ana", ["analysts", "contractors"])
}

test_others_go_on if {
	not stopped("ana", ["analysts"])
	count(deny) == 0 with input as ask("ana", ["analysts"]) with data.session_kill as stop
}
