# METADATA
# title: Notes belong to a tenant
# custom:
#   grants: true
package portcullis.row_filter.tenant_rows

define contains {
	"name": "tenant_rows",
	"relation": "public.notes",
	"using": "tenant = ANY ($values)",
	"by": "rls",
	"lifted": false,
} if {
	input.database == "shop"
}
