# METADATA
# title: Which rows of a table an identity works with
# description: |
#   A filter is one SQL condition over a table's own columns and `$values`, the same for everybody; whose values are
#   what, session.rego says. Definitions are in data/row_filters.json, by database and by the filter's name. They are
#   put in force by `portcullis rls apply`; until then statements on these tables are denied. See docs/row-filters.md.
package portcullis.row_filter

define contains object.union({"name": name, "by": "rls", "lifted": false}, filter) if {
	some name, filter in data.row_filters[input.database]
}
