package portcullis.approval_test

import data.portcullis.approval.deny
import data.portcullis.approval.eligible
import data.portcullis.fixtures_test as fixtures
import data.portcullis.fixtures_test.agents as fixed

rules(who, vote) := found if {
	found := {reason.rule | some reason in deny} with input as ask(who, vote)
		with data.agents as people
}

ask(who, vote) := {
	"approver": {"name": who},
	"requester": {"name": "bot", "owner": "ana"},
	"groups": ["approvers"],
	"vote": vote,
}

people := object.union(fixed, {"priya": fixtures.agent("human", ["approvers"], {})})

test_a_member_decides if {
	rules("priya", "approve") == set()
	eligible with input as ask("priya", "approve") with data.agents as people
}

test_others_do_not if {
	rules("dora", "approve") == {"approver_group"}
	rules("nobody", "approve") == {"approver_group"}
	not eligible with input as ask("nobody", "approve") with data.agents as people
}

test_an_owner_says_no_but_not_yes if {
	rules("ana", "approve") == {"owner_approves"}
	rules("ana", "deny") == set()
}

test_the_switch if {
	switched := {reason.rule | some reason in deny} with input as ask("ana", "approve")
		with data.agents as people
		with data.rulebook.owner_may_approve as true
	switched == set()
}
