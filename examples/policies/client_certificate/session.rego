# METADATA
# title: How administrators prove who they are
package portcullis.session.client_certificate

import data.portcullis.lib.me

deny contains {
	"rule": "client_certificate",
	"message": sprintf("the group `%s` does not log in by `%s`", [group, input.session.proof]),
	"hint": sprintf("log in by: %s", [concat(" or ", proofs)]),
} if {
	some group in me.groups
	proofs := object.get(data.client_certificate, group, [input.session.proof])
	not input.session.proof in proofs
}
