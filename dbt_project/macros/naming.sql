{# Schemas of the lake are stages: a model's schema is exactly the one it is configured with. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
  {{ custom_schema_name | trim if custom_schema_name else target.schema }}
{%- endmacro %}
