# METADATA
# title: Who may open a session, and as which upstream role
# description: |
#   A session is for those whose file has a scope on the database. Those who see masked columns in clear get the
#   upstream role `full`, if the configuration offers it; all others get the database's own, least-privileged
#   credential, which can't read masked columns: PostgreSQL is a second wall.
package portcullis.session

import data.portcullis.lib.me
import data.portcullis.lib.sees_clear

allow if me.scope[input.database]

deny contains {
	"rule": "no_scope",
	"message": sprintf("you have no access to the database `%s`", [input.database]),
	"hint": sprintf("whoever keeps your file can add [scope.%s] to it", [input.database]),
} if {
	not me.scope[input.database]
}

role := "full" if {
	sees_clear
	"full" in input.roles
}
