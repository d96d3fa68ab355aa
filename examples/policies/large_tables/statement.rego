# METADATA
# title: Large tables are read in parts
package portcullis.statement.large_tables

deny contains {
	"rule": "large_table",
	"message": sprintf("`%s` has about %d rows, and this reads all of them", [table.key, table.row_estimate]),
	"hint": "name the rows in WHERE, or add a LIMIT",
} if {
	input.statement.class == "read"
	some table in input.statement.tables
	table.access == "read"
	table.row_estimate > data.large_tables.rows
	not narrowed
	not input.statement.limit.present
}

narrowed if {
	input.statement.condition.present
	not input.statement.condition.tautology
}
