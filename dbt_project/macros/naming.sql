{# Schemas of the lake are stages: a model's schema is exactly the one it is configured with. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
  {{ custom_schema_name | trim if custom_schema_name else target.schema }}
{%- endmacro %}

{#
  Each product has a lake of its own, attached under the product's name: models/<layer>/<product>/ says which. So two
  products may both have `labels` or a reference of the same name.
#}
{% macro generate_database_name(custom_database_name, node) -%}
  {{ node.fqn[2] if node.resource_type == 'model' and node.fqn | length > 3 else target.database }}
{%- endmacro %}

{# A source is in the lake that is attached, whatever `database` its file says. #}
{% macro source(source_name, table_name) -%}
  {%- set relation = builtins.source(source_name, table_name) -%}
  {%- do return(relation.incorporate(path={'database': target.database})) -%}
{%- endmacro %}
