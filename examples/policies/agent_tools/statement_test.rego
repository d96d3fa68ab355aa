package portcullis.agent_tools_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.fixtures_test.agents as identities
import data.portcullis.statement.agent_tools.deny

people := object.union(identities, {"reporter": fixtures.agent("agent", ["reporting"], {})})

messages(who, tool) := found if {
	found := {reason.message | some reason in deny} with input as object.union(fixtures.ask(who, {}), {"tool": tool})
		with data.agents as people
		with data.agent_tools as {"reporting": ["query"]}
}

test_its_tool if messages("reporter", "query") == set()

test_others if {
	messages("reporter", "execute") == {"the group `reporting` does not use the tool `execute`"}
	messages("reporter", "") == {"the group `reporting` does not use the wire door"}
}

test_other_groups if messages("bot", "execute") == set()
