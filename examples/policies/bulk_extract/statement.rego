# METADATA
# title: Bulk extract is for export jobs
package portcullis.statement.bulk_extract

import data.portcullis.lib.me

deny contains {
	"rule": "bulk_extract",
	"message": "COPY TO takes whole tables, which is for export jobs",
	"hint": sprintf("use SELECT: up to %d rows", [data.bulk_extract.rows]),
} if {
	copies_out
	not exports
}

alert contains {
	"rule": "bulk_extract",
	"message": sprintf("`%s` extracts %s", [input.identity.name, concat(", ", tables)]),
	"hint": "",
} if {
	copies_out
	exports
}

limit contains {"rows": data.bulk_extract.rows, "bytes": data.bulk_extract.bytes} if not exports

copies_out if {
	input.statement.kind == "copy"
	input.statement.class == "read"
}

exports if {
	some group in me.groups
	group in data.bulk_extract.groups
}

tables := {table.key | some table in input.statement.tables}
