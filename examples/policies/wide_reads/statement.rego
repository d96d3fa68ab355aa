# METADATA
# title: No SELECT * by agents
package portcullis.statement.wide_reads

import data.portcullis.lib.is_agent

deny contains {
	"rule": "wide_read",
	"message": sprintf("this returns %d columns of `%s`", [count(columns), table.key]),
	"hint": sprintf("name those that you need, %d at most", [most]),
} if {
	is_agent
	some table in input.statement.tables
	not table.system
	most := object.get(data.wide_reads.tables, table.key, data.wide_reads.most)
	prefix := concat("", [table.key, "."])
	columns := {source | some output in input.statement.outputs; some source in output.sources; startswith(source, prefix)}
	count(columns) > most
}
