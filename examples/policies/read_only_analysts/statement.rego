# METADATA
# title: Analysts only read
package portcullis.statement.read_only_analysts

import data.portcullis.lib.me

deny contains {
	"rule": "analysts_read_only",
	"message": "analysts only read",
	"hint": "ask the team that owns the data to make the change",
} if {
	not input.statement.class in {"transaction", "read", "session"}
	some group in me.groups
	group in data.read_only_analysts.groups
}
