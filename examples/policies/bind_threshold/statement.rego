# METADATA
# title: Amounts come as parameters
package portcullis.statement.bind_threshold

deny contains {
	"rule": "bind_values",
	"message": sprintf("writes to `%s` must give their values as parameters", [table.key]),
	"hint": "prepare the statement with $1, $2, ...",
} if {
	some table in input.statement.tables
	table.access in {"insert", "update"}
	data.bind_threshold[table.key]
	input.via in {"query", "tool"}
	count(input.bind.parameters) == 0
}
