"""`headrace new`: profile files, conclude what product they make, write its spec and dbt models. Pure modules."""
