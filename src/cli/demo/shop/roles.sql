-- What the gateway may do in `shop`. It runs after the roles exist, as their superuser.
--
-- `portcullis_svc` serves everyone whose view is masked: it lacks the governed columns, so a mask that failed
-- would end in "permission denied", not in a leak. `portcullis_full` serves those whom the rulebook lets read
-- them. Neither owns anything, makes anything, or reads a file of the server.

REVOKE ALL ON DATABASE shop FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT CONNECT ON DATABASE shop TO portcullis_svc, portcullis_full;
GRANT USAGE ON SCHEMA public, hr TO portcullis_svc, portcullis_full;

GRANT SELECT ON products, orders, tickets TO portcullis_svc;
GRANT SELECT (id, name, city, country, segment, notes, created_at, ctid, tableoid) ON customers TO portcullis_svc;
GRANT SELECT (id, name, country, segment, orders, spent) ON customer_overview TO portcullis_svc;
GRANT SELECT (employee_id, name, department, title, hired_on, ctid, tableoid) ON hr.payroll TO portcullis_svc;
GRANT INSERT, UPDATE, DELETE ON orders, tickets TO portcullis_svc;

GRANT SELECT ON ALL TABLES IN SCHEMA public, hr TO portcullis_full;
GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO portcullis_full;
REVOKE INSERT, UPDATE, DELETE ON customer_overview FROM portcullis_full;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO portcullis_svc, portcullis_full;
