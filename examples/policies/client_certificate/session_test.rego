package portcullis.client_certificate_test

import data.portcullis.fixtures_test.agents as identities
import data.portcullis.session.client_certificate.deny

rules(who, proof) := found if {
	asked := {"identity": {"name": who, "file": who}, "session": {"proof": proof}}
	found := {reason.rule | some reason in deny} with input as asked
		with data.agents as identities
		with data.client_certificate as {"dba": ["certificate"]}
}

test_a_certificate if rules("dora", "certificate") == set()

test_anything_else if {
	every proof in ["scram", "token", "trust", ""] {
		rules("dora", proof) == {"client_certificate"}
	}
}

test_others_as_they_like if rules("ana", "scram") == set()
