# METADATA
# title: Whose sessions end
package portcullis.statement.session_kill

deny contains {
	"rule": "session_kill",
	"message": "your access is stopped",
	"hint": "call security",
} if {
	stopped
}

alert contains {
	"rule": "session_kill",
	"message": sprintf("the session of `%s` is ended", [input.identity.name]),
	"hint": "",
} if {
	stopped
}

oblige contains "end_session" if stopped

stopped if input.identity.name in data.session_kill.identities

stopped if {
	some group in input.identity.groups
	group in data.session_kill.groups
}
