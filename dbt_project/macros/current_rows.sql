{#
  The rows of a PostgreSQL table as they are now, made of its changes in raw: of each key the newest change, unless the
  row was deleted, or the table truncated since. A row's batch is that of its newest change.

  A row whose newest change is in quarantine is left out: what it was before is no longer true. Batches that data
  validation holds back are not read. Models over this are `materialized='table'`: a change may be about any row.

  Args: the raw table, `source('x_raw', 'x')`, and the columns that name a row, as the database calls them.
#}
{% macro current_rows(source, keys) -%}
  {%- set counted = "(select counted.batch_id from (" ~ counted_batches(source.identifier) ~ ") as counted)" -%}
  {%- set types = {} -%}
  {%- if execute -%}
    {%- for column in adapter.get_columns_in_relation(source) -%}
      {%- do types.update({column.name | lower: column.dtype}) -%}
    {%- endfor -%}
  {%- endif -%}
  select newest.*
  from (
    select *
    from {{ source }}
    where headrace_change is not null and batch_id in {{ counted }}
    qualify row_number() over (
      partition by {% for key in keys %}{{ adapter.quote(key) }}{{ ', ' if not loop.last }}{% endfor %}
      order by headrace_lsn desc, headrace_sequence desc
    ) = 1
  ) as newest
  left join (
    select max((headrace_lsn, headrace_sequence)) as place
    from {{ source }}
    where headrace_change = 'truncate' and batch_id in {{ counted }}
  ) as emptied on true
  left join (
    select
      {%- for key in keys %}
      try_cast(json_extract_string(raw_text, '$."{{ key }}"') as {{ types.get(key | lower, 'varchar') }}) as key_{{ loop.index }},
      {%- endfor %}
      max((batch_id, row_number)) as place
    from {{ target.database }}.raw.quarantine
    where source = '{{ source.identifier }}' and batch_id in {{ counted }}
    group by all
  ) as bad on {% for key in keys %}bad.key_{{ loop.index }} = newest.{{ adapter.quote(key) }} and {% endfor %}true
  where newest.headrace_change not in ('delete', 'truncate')
    and (emptied.place is null or (newest.headrace_lsn, newest.headrace_sequence) > emptied.place)
    and (bad.place is null or (newest.batch_id, newest.row_number) > bad.place)
{%- endmacro %}
