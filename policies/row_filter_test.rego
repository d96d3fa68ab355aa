package portcullis.row_filter_test

import data.portcullis.row_filter.define

filters := {"shop": {
	"tenant": {"relation": "public.orders", "using": "tenant = ANY ($values)", "lifted": true},
	"region": {"relation": "public.depots", "using": "region = ANY ($values)", "by": "fence"},
}}

test_filters_of_a_database_with_what_is_left_out if {
	found := define with input as {"database": "shop"} with data.row_filters as filters
	found == {
		{
			"name": "tenant", "relation": "public.orders", "using": "tenant = ANY ($values)",
			"by": "rls", "lifted": true,
		},
		{
			"name": "region", "relation": "public.depots", "using": "region = ANY ($values)",
			"by": "fence", "lifted": false,
		},
	}
}

test_other_databases_have_none if {
	found := define with input as {"database": "bank"} with data.row_filters as filters
	found == set()
}
