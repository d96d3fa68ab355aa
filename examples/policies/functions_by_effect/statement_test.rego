package portcullis.functions_by_effect_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.statement.functions_by_effect.deny

messages(changes) := found if {
	plain := {
		"key": "public.f",
		"builtin": false,
		"security_definer": false,
		"volatility": "stable",
		"languages": ["sql"],
	}
	asked := fixtures.ask("dora", {"functions": [object.union(plain, changes)]})
	found := {reason.message | some reason in deny} with input as asked
		with data.functions_by_effect as {"volatilities": ["immutable", "stable"], "languages": ["sql"]}
}

test_harmless if messages({}) == set()

test_rights if messages({"security_definer": true}) == {"`public.f` runs with its owner's rights"}

test_volatile if messages({"volatility": "volatile"}) == {"`public.f` is volatile: it may change something"}

test_languages if messages({"languages": ["plpython3u", "sql"]}) == {"`public.f` is written in plpython3u"}

test_postgresqls_own if messages({"builtin": true, "volatility": "volatile", "languages": ["internal"]}) == set()
