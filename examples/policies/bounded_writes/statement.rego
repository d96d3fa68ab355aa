# METADATA
# title: Writes name their rows by a key
package portcullis.statement.bounded_writes

deny contains {
	"rule": "bounded_writes",
	"message": sprintf("this %s of `%s` does not name its rows by a key", [upper(table.access), table.key]),
	"hint": sprintf("use one of these in WHERE: %s", [concat(", ", keys)]),
} if {
	some table in input.statement.tables
	table.access in {"update", "delete"}
	keys := object.get(data.bounded_writes, table.key, [])
	count(keys) > 0
	every key in keys {
		not key in table.columns_filtered
	}
}
