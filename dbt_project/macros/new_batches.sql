{#
  The predicate that makes a model incremental by batch: it finds its own new batches in the ledger.

  Takes every batch from the first one this table does not have yet, not only the missing ones: a batch that arrives
  late changes the history (and the duplicates) of those after it, so any order of arrival gives the same table.
  Batches that data validation holds back are neither new nor read (see held_batches below).
#}
{% macro new_batches(source_name, column='batch_id') -%}
  {%- if is_incremental() -%}
  {{ column }} not in ({{ held_batches(source_name) }})
  and {{ column }} >= (
    select coalesce(min(ledger.batch_id), chr(1114111))
    from {{ target.database }}.ledger.batches as ledger
    where ledger.source = '{{ source_name }}'
      and ledger.status = 'LOADED'
      and ledger.rows_loaded > 0
      and ledger.batch_id not in (select distinct batch_id from {{ this }})
      and ledger.batch_id not in ({{ held_batches(source_name) }})
  )
  {%- else -%}
  {{ column }} not in ({{ held_batches(source_name) }})
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

{#
  Batches of a source that data validation holds back: the newest word about their data is no, and no person's newest
  word accepts them. The rule of `held_batches` in assets/blessings.py, in SQL over the same ledger.

  Only the product's own source is held. A reference of the same batch (the weather of a held month) is right by
  itself and may be needed by the batches after it, so it is read.
#}
{% macro held_batches(source_name) -%}
  {%- if model is defined and source_name == model.fqn[2] -%}
  select word.batch_id
  from (
    select batch_id, record ->> '$.verdict' as verdict
    from {{ target.database }}.ledger.blessings
    where record ->> '$.kind' = 'data'
    qualify row_number() over (partition by batch_id order by recorded_at desc, record_id desc) = 1
  ) as word
  where word.verdict = 'NOT_BLESSED'
    and word.batch_id not in (
      select override.subject
      from (
        select record ->> '$.subject' as subject, record ->> '$.action' as action
        from {{ target.database }}.ledger.overrides
        qualify row_number() over (
          partition by record ->> '$.subject' order by recorded_at desc, record_id desc
        ) = 1
      ) as override
      where override.action = 'accept' and override.subject is not null
    )
  {%- else -%}
  select chr(0) where false
  {%- endif -%}
{%- endmacro %}

{#
  Takes the rows of held batches out of an incremental table, with those of every batch after them: the history that
  those were built from had the held rows in it, so they are new to `new_batches` and built again in the same
  transaction. A batch can be in a table and held when it was judged later than built: by its features' statistics, or
  by rules that have changed.
#}
{% macro without_held_batches() -%}
  {%- set own = "new_batches\\(\\s*['\"]" ~ model.fqn[2] ~ "['\"]" -%}
  {%- if is_incremental() and modules.re.search(own, model.raw_code) -%}
  delete from {{ this }}
  where batch_id >= (select min(batch_id) from {{ this }} where batch_id in ({{ held_batches(model.fqn[2]) }}))
  {%- endif -%}
{%- endmacro %}
