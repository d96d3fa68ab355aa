# METADATA
# title: Who may open a session, and as which upstream role
# description: |
#   A session is for those whose file has a scope on the database. Those who see masked columns in clear get the
#   upstream role `full`, if the configuration offers it; all others get the database's own, least-privileged
#   credential, which can't read masked columns: PostgreSQL is a second wall.
package portcullis.session

import data.portcullis.lib.is_dba
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

# What a client sets when it connects is held to the same lists as what it sets later (statement/settings.rego). What
# names find, whose rights hold and how text is read stays the gateway's own, whatever is written here.
deny contains {
	"rule": "setting",
	"message": sprintf("the setting `%s` is not yours to choose when you connect", [setting.name]),
	"hint": sprintf("you may choose: %s", [concat(", ", sort(data.settings.free))]),
} if {
	some setting in input.settings
	not setting.name in data.settings.free
	not stays(setting)
}

stays(setting) if lower(setting.value) in data.settings.fixed[setting.name]

# What psql asks for where the locale knows no encoding: bytes stay as they are.
stays(setting) if {
	setting.name == "client_encoding"
	lower(setting.value) == "sql_ascii"
}

# Whose rows: data/row_values.json has them by database and filter, for identities by name and for groups. What a name
# has weighs more than its groups, and several groups add up; `"all"` lifts the filter, where its definition lets that
# happen. Whoever has nothing there sees no rows.
row_values contains {"filter": filter, "all": true} if {
	some filter, given in data.row_values[input.database]
	"all" in own_values(given)
}

row_values contains {"filter": filter, "values": listed} if {
	some filter, given in data.row_values[input.database]
	own := own_values(given)
	count(own) > 0
	not "all" in own
	listed := sort({value | some values in own; some value in values})
}

own_values(given) := {given.identities[input.identity.name]} if given.identities[input.identity.name]

own_values(given) := {values |
	some group, values in given.groups
	group in me.groups
} if {
	not given.identities[input.identity.name]
}

# Whoever may write nothing has sessions in which PostgreSQL would refuse it too.
read_only if {
	count(object.get(me.scope[input.database], "write", {})) == 0
	not is_dba
}

role := "full" if {
	sees_clear
	"full" in input.roles
}
