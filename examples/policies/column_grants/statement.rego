# METADATA
# title: Columns by group
package portcullis.statement.column_grants

import data.portcullis.lib.me

deny contains {
	"rule": "column_grants",
	"message": sprintf("`%s` of `%s` is not for the group `%s`", [concat("`, `", closed), table.key, group]),
	"hint": sprintf("you may use: %s", [concat(", ", listed)]),
} if {
	some group in me.groups
	some table in input.statement.tables
	listed := object.get(object.get(data.column_grants, group, {}), table.key, table.columns_read)
	closed := [column | some column in table.columns_read; not column in listed]
	count(closed) > 0
}
