{#
  Sums over the facts of an entity that were known at a moment, by cumulative sums and ASOF joins.

  A fact counts from `known_at` on, so nothing that happened later can be seen. Sums must be over integers: then a
  difference of two cumulative sums is exact, and does not depend on how far back the facts begin.

  Two CTEs are written: `<name>_running` (one row per entity and known_at) and `<name>` (one row per spine row with
  its keys and, per window, `<name>_<sum>_<suffix>`), plus `<name>_known_at`, the newest fact that was used.

  facts, spine: CTE names          by: entity columns, same names in both
  sums: {name: expression}         windows: {suffix: interval text}
#}
{% macro history(name, facts, spine, keys, by, at, known_at, sums, windows) -%}
{{ name }}_running as (
  select
    {{ by | join(', ') }},
    {{ known_at }} as fact_known_at,
    {%- for sum, expression in sums.items() %}
    (sum(sum({{ expression }})) over entity)::bigint as {{ sum }}{{ "," if not loop.last }}
    {%- endfor %}
  from {{ facts }}
  group by {{ by | join(', ') }}, {{ known_at }}
  window entity as (
    partition by {{ by | join(', ') }} order by {{ known_at }} rows between unbounded preceding and current row
  )
),
{{ name }} as (
  select
    {% for key in keys %}spine.{{ key }}, {% endfor %}
    newest.fact_known_at as {{ name }}_known_at,
    {%- for suffix in windows %}{% set last_window = loop.last %}
    {%- for sum in sums %}
    coalesce(newest.{{ sum }}, 0) - coalesce(before_{{ suffix }}.{{ sum }}, 0) as {{ name }}_{{ sum }}_{{ suffix }}
    {{- "," if not (loop.last and last_window) }}
    {%- endfor %}
    {%- endfor %}
  from {{ spine }} as spine
  asof left join {{ name }}_running as newest
    on {% for column in by %}spine.{{ column }} = newest.{{ column }} and {% endfor -%}
       spine.{{ at }} >= newest.fact_known_at
  {%- for suffix, interval in windows.items() %}
  asof left join {{ name }}_running as before_{{ suffix }}
    on {% for column in by %}spine.{{ column }} = before_{{ suffix }}.{{ column }} and {% endfor -%}
       (spine.{{ at }} - interval '{{ interval }}') >= before_{{ suffix }}.fact_known_at
  {%- endfor %}
)
{%- endmacro %}
