# METADATA
# title: Closed, but for emergencies
package portcullis.statement.break_glass

import data.portcullis.lib.me

deny contains {
	"rule": "break_glass",
	"message": sprintf("`%s` is closed: %s", [table, what]),
	"hint": "see the page on emergencies",
} if {
	some table in closed
	some what in missing
}

alert contains {
	"rule": "glass_broken",
	"message": sprintf("`%s` reads `%s` for %s", [input.identity.name, table, input.session.purpose]),
	"hint": "",
} if {
	some table in closed
	count(missing) == 0
}

missing contains "you are not in the group `break_glass`" if not "break_glass" in me.groups

missing contains "you have no time for it, or it is over" if {
	object.get(data.break_glass.until, input.identity.name, 0) <= input.time.unix
}

missing contains "your session does not say for which incident (portcullis.purpose=incident/NUMBER)" if {
	not regex.match("^incident/[0-9]+$", input.session.purpose)
}

closed := {table.key |
	some table in input.statement.tables
	table.schema in data.break_glass.schemas
}
