# METADATA
# title: Tripwires
package portcullis.statement.honey_tables

deny contains {
	"rule": "honey_table",
	"message": sprintf("`%s` is a tripwire", [touched]),
	"hint": "",
	"public": false,
} if {
	some touched in tripped
}

alert contains {
	"rule": "honey_table",
	"message": sprintf("`%s` touched the tripwire `%s` from %s", [input.identity.name, touched, input.session.address]),
	"hint": "",
} if {
	some touched in tripped
}

oblige contains "end_session" if count(tripped) > 0

tripped := {table.key |
	some table in input.statement.tables
	table.key in data.honey_tables.tables
}
