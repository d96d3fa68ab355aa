# METADATA
# title: Read what your file grants
# description: |
#   Every relation that a statement touches must be granted, and every column that it uses in any way. What a
#   granted view shows is granted with it; masks hold behind views too. PostgreSQL's own catalogs are open, as
#   psql and drivers need them, but for those that hold secrets or other people's data (data/catalog.json).
package portcullis.statement

import data.portcullis.lib
import data.portcullis.lib.readable
import data.portcullis.lib.writable

deny contains {
	"rule": "read_scope",
	"message": sprintf("you may not read `%s`", [table.key]),
	"hint": "`my_access` lists what you may read; more is granted by [scope] in your file",
} if {
	some table in own_tables
	reads(table)
	not lib.granted(readable, table)
}

deny contains {
	"rule": "read_columns",
	"message": sprintf("you may not read `%s` of `%s`", [concat("`, `", columns), table.key]),
	"hint": "name the columns that you may read, without `*`",
} if {
	some table in own_tables
	reads(table)
	lib.granted(readable, table)
	columns := lib.outside(readable, table, table.columns_read)
	count(columns) > 0
}

deny contains {
	"rule": "catalog_secret",
	"message": sprintf("`%s` holds %s", [table.key, data.catalog.secret[table.key]]),
	"hint": "",
} if {
	some table in input.statement.tables
	not covered_by_view(table)
	data.catalog.secret[table.key]
}

deny contains {
	"rule": "catalog_secret",
	"message": sprintf("`%s` of `%s` holds passwords", [column, table.key]),
	"hint": "name the columns that you need, without `*`",
} if {
	some table in input.statement.tables
	not covered_by_view(table)
	some column in object.get(data.catalog.secret_columns, table.key, [])
	column in table.columns_read
}

deny contains {
	"rule": "catalog_change",
	"message": sprintf("`%s` is PostgreSQL's own, and not yours to change", [table.key]),
	"hint": "",
} if {
	some table in input.statement.tables
	table.system
	table.access != "read"
}

# Locking rows keeps others from writing them.
deny contains {
	"rule": "row_locks",
	"message": sprintf("locking rows of `%s` needs the right to write it", [table.key]),
	"hint": "leave out FOR UPDATE or FOR SHARE",
} if {
	input.statement.locks_rows
	some table in input.statement.tables
	table.access == "read"
	not covered_by_view(table)
	not lib.granted(writable, table)
}

# An UPDATE reads what its WHERE names; an INSERT of constants reads nothing.
reads(table) if table.access == "read"

reads(table) if count(table.columns_read) > 0

# Tables of users, named by the statement itself.
own_tables := [table |
	some table in input.statement.tables
	not table.system
	not covered_by_view(table)
]

# A base table that only a view names is covered, because the view is judged in its place.
covered_by_view(table) if {
	table.access == "read"
	table.via_view != ""
	some view in input.statement.tables
	view.key == table.via_view
	view.access == "read"
}
