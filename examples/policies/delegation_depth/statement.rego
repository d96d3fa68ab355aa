# METADATA
# title: How long a chain of agents may be
package portcullis.statement.delegation_depth

deny contains {
	"rule": "delegation_depth",
	"message": sprintf("you act for %s: that chain is too long", [concat(", who acts for ", input.identity.delegation)]),
	"hint": "whoever is above you can do it",
} if {
	count(input.identity.delegation) > data.delegation_depth.most
}
