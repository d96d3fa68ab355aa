# METADATA
# title: Who may not come in
package portcullis.session.session_kill

import data.portcullis.statement.session_kill.stopped

deny contains {
	"rule": "session_kill",
	"message": "your access is stopped",
	"hint": "call security",
} if {
	stopped
}
