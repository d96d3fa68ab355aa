package portcullis.tenant_rows_test

import data.portcullis.row_filter.tenant_rows.define
import data.portcullis.session.tenant_rows.row_values

test_one_definition if {
	count(define) == 1 with input.database as "shop"
	count(define) == 0 with input.database as "bank"
}

values(claims, database) := found if {
	found := row_values with input as {"database": database, "identity": {"claims": claims}}
}

test_values_come_from_the_claim if {
	values({"tenant": ["acme"]}, "shop") == {{"filter": "tenant_rows", "values": ["acme"]}}
}

test_no_claim_no_rows if {
	values({}, "shop") == set()
	values({"tenant": ["acme"]}, "bank") == set()
}
