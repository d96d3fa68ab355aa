# METADATA
# title: Whose notes a session shows
# custom:
#   grants: true
package portcullis.session.tenant_rows

row_values contains {
	"filter": "tenant_rows",
	"values": input.identity.claims.tenant,
} if {
	input.database == "shop"
}
