# METADATA
# title: An agent may no more than its owner
package portcullis.statement.agents_within_owner

import data.portcullis.lib

deny contains {
	"rule": "beyond_owner",
	"message": sprintf("you act for `%s`, who may not read this of `%s`", [person, table.key]),
	"hint": "ask the person for whom you act",
} if {
	some person in input.identity.delegation
	some table in tables
	count(table.columns_read) > 0
	not may_read(person, table)
}

deny contains {
	"rule": "beyond_owner",
	"message": sprintf("you act for `%s`, who may not write this of `%s`", [person, table.key]),
	"hint": "ask the person for whom you act",
} if {
	some person in input.identity.delegation
	some table in tables
	table.access != "read"
	not may_write(person, table)
}

may_read(person, table) if {
	grants := data.agents[person].scope[input.database].read
	lib.granted(grants, table)
	count(lib.outside(grants, table, table.columns_read)) == 0
}

may_write(person, table) if {
	grants := data.agents[person].scope[input.database].write
	lib.granted(grants, table)
	count(lib.outside(grants, table, table.columns_written)) == 0
}

# A base table that only a view names is judged with the view.
tables := [table |
	some table in input.statement.tables
	not table.system
	table.via_view == ""
]
