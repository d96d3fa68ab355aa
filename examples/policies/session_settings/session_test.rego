package portcullis.session_settings_test

import data.portcullis.fixtures_test.agents as identities
import data.portcullis.session.session_settings.lifetime_s
import data.portcullis.session.session_settings.setting

terms := {"support": {"lifetime_s": 60, "settings": {"lock_timeout": "2s"}}}

ask(who) := {"identity": {"name": who, "file": who}}

test_by_group if {
	lifetime_s == {60} with input as ask("bot")
		with data.agents as identities
		with data.session_settings as terms
	setting == {{"name": "lock_timeout", "value": "2s"}} with input as ask("bot")
		with data.agents as identities
		with data.session_settings as terms
}

test_others if {
	lifetime_s == set() with input as ask("dora")
		with data.agents as identities
		with data.session_settings as terms
	setting == set() with input as ask("dora")
		with data.agents as identities
		with data.session_settings as terms
}
