# METADATA
# title: Reads that security hears of
package portcullis.statement.sensitive_read_alerts

alert contains {
	"rule": "sensitive_read",
	"message": sprintf("`%s` reads %s of `%s`", [input.identity.name, concat(", ", columns), table.key]),
	"hint": "",
} if {
	some table in input.statement.tables
	watched := object.get(data.sensitive_read_alerts, table.key, [])
	columns := [column | some column in table.columns_read; is_watched(column, watched)]
	count(columns) > 0
}

is_watched(column, watched) if column in watched

is_watched(_, watched) if "*" in watched
