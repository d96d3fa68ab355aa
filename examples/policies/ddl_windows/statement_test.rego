package portcullis.ddl_windows_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.statement.ddl_windows.alert
import data.portcullis.statement.ddl_windows.deny

answer(class, weekday, hour, purpose) := [count(denied), count(alerts)] if {
	clock := {"date": "2026-11-24", "weekday": weekday, "hour": hour, "minute": 0}
	asked := object.union(fixtures.ask("dora", {"class": class}), {
		"time": {"zones": {"America/New_York": clock}},
		"session": {"purpose": purpose},
	})
	windows := {"weekdays": [2, 4], "hours": [22, 23]}
	denied := deny with input as asked with data.ddl_windows as windows
	alerts := alert with input as asked with data.ddl_windows as windows
}

test_in_the_window if {
	answer("ddl", 2, 22, "") == [0, 0]
	answer("ddl", 4, 23, "incident/1") == [0, 0]
}

test_out_of_it if {
	answer("ddl", 2, 21, "") == [1, 0]
	answer("ddl", 3, 22, "incident") == [1, 0]
	answer("ddl", 3, 22, "incident/4711") == [0, 1]
}

test_all_else_goes_on if answer("write", 3, 12, "") == [0, 0]
