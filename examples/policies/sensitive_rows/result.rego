# METADATA
# title: Few rows of what is sensitive
package portcullis.result.sensitive_rows

deny contains {
	"rule": "sensitive_rows",
	"message": sprintf("no more than %d rows with `%s` at a time", [most, source]),
	"hint": "name the rows in WHERE, or leave the column out",
} if {
	some column in input.result.columns
	some source in column.sources
	most := object.get(data.sensitive_rows, source, -1)
	most >= 0
	input.result.rows >= most
}
