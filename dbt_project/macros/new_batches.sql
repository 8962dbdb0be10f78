{#
  The predicate that makes a model incremental by batch: it finds its own new batches in the ledger.

  Takes every batch from the first one this table does not have yet, not only the missing ones: a batch that arrives
  late changes the history (and the duplicates) of those after it, so any order of arrival gives the same table.
#}
{% macro new_batches(source_name, column='batch_id') -%}
  {%- if is_incremental() -%}
  {{ column }} >= (
    select coalesce(min(ledger.batch_id), chr(1114111))
    from {{ target.database }}.ledger.batches as ledger
    where ledger.source = '{{ source_name }}'
      and ledger.status = 'LOADED'
      and ledger.rows_loaded > 0
      and ledger.batch_id not in (select distinct batch_id from {{ this }})
  )
  {%- else -%}
  true
  {%- endif -%}
{%- endmacro %}

{#
  Of the rows in a CTE, the first delivery of each key: by batch and row number, and after what this table keeps.
  Only the keys of the batches that stay are read again.
#}
{% macro first_of_key(rows, keys) -%}
  select * from {{ rows }}
  {%- if is_incremental() %}
  anti join (
    select {{ keys | join(', ') }} from {{ this }}
    where batch_id < (select coalesce(min(batch_id), '') from {{ rows }})
  ) as kept using ({{ keys | join(', ') }})
  {%- endif %}
  qualify row_number() over (partition by {{ keys | join(', ') }} order by batch_id, row_number) = 1
{%- endmacro %}
