{#
  The predicate that makes a model incremental by batch: it finds itself what has changed since it was built.

  Takes every batch from the first one that is new, corrected, replayed or held by now, not only the changed ones: what
  a batch holds changes the history (and the duplicates) of those after it, so any order of arrival gives the same
  table. Batches that data validation holds back are not read.
#}
{% macro new_batches(source_name, column='batch_id') -%}
  {{ column }} in (select counted.batch_id from ({{ counted_batches(source_name) }}) as counted)
  {%- if is_incremental() %}
  and {{ column }} >= ({{ first_stale_batch(source_name) }})
  {%- endif -%}
{%- endmacro %}

{#
  Reads the ledger once for all models of a run, into memory: the write lock is held around it, so nothing changes
  meanwhile but what each model itself writes down when it is built. `on-run-start` of the project.

  counted_batches: the batches that count, with the name of their content (`Batch.content_id` in assets/records.py): of
  each the newest version, unless it turned out to repeat an earlier batch, and not held back; of a register (a source
  without batches, delivered whole each time) the newest content, which has a name of its own.
  built: what each table is made of.
#}
{% macro read_ledger() -%}
  create or replace table memory.main.counted_batches as
  with newest as (
    select *, left(sha256, 16) || '.' || version || '-' || rows_loaded as content_id
    from (
      select *
      from {{ target.database }}.ledger.batches
      where status in ('LOADED', 'DUPLICATE') and version > 0
      qualify row_number() over (partition by source, batch_id order by version desc, loaded_at desc) = 1
    )
    where status = 'LOADED'
  )
  select source, batch_id, content_id, batch_id = left(sha256, 12) as is_register
  from newest
  where not (source = '{{ target.database }}' and batch_id in ({{ held_batches() }}))
  qualify not is_register or version = max(version) over (partition by source);
  create or replace table memory.main.built as
  select model, source, batch_id, content_id from {{ target.database }}.ledger.built
{%- endmacro %}

{#
  Batches of the product's own source that data validation holds back: the newest word about their data is no, or is
  about what they held before a correction; and no person has accepted them since they were loaded. The rule of
  `held_batches` in assets/blessings.py, in SQL over the same ledger.

  A reference of the same batch (the weather of a held month) is right by itself and may be needed by the batches after
  it, so it is read.
#}
{% macro held_batches() -%}
  select word.batch_id
  from (
    select batch_id, record ->> '$.verdict' as verdict, record ->> '$.row_set_hash' as content_id
    from {{ target.database }}.ledger.blessings
    where record ->> '$.kind' = 'data'
    qualify row_number() over (partition by batch_id order by recorded_at desc, record_id desc) = 1
  ) as word
  join newest on newest.batch_id = word.batch_id and newest.source = '{{ target.database }}'
  left join (
    select record ->> '$.subject' as batch_id, record ->> '$.action' as action, recorded_at
    from {{ target.database }}.ledger.overrides
    where record ->> '$.subject' is not null
    qualify row_number() over (partition by record ->> '$.subject' order by recorded_at desc, record_id desc) = 1
  ) as override on override.batch_id = word.batch_id and override.action = 'accept'
    and override.recorded_at >= newest.loaded_at
  where (word.verdict = 'NOT_BLESSED' or word.content_id <> newest.content_id) and override.batch_id is null
{%- endmacro %}

{% macro counted_batches(source_name) -%}
  select source, batch_id, content_id from memory.main.counted_batches where source = '{{ source_name }}'
{%- endmacro %}

{% macro built() -%}
  select source, batch_id, content_id from memory.main.built where model = '{{ this.schema }}.{{ this.identifier }}'
{%- endmacro %}

{#
  What a table should be made of now. A mart reads its references, too: the weather of a month that is delivered late or
  again makes the month's features stale, a new register those of every batch.
#}
{% macro ingredients(source_name) -%}
  {{ counted_batches(source_name) }}
  {%- if model is defined and model.fqn[1] == 'marts' %}
  union all
  select source, batch_id, content_id
  from memory.main.counted_batches
  where source <> '{{ source_name }}'
    and batch_id in (select own.batch_id from ({{ counted_batches(source_name) }}) as own)
  union all
  select register.source, own.batch_id, register.content_id
  from memory.main.counted_batches as register
  cross join ({{ counted_batches(source_name) }}) as own
  where register.is_register and register.source <> '{{ source_name }}'
  {%- endif %}
{%- endmacro %}

{# The first batch of which this table is made of something else than it should be; after all others if none is. #}
{% macro first_stale_batch(source_name) -%}
  select coalesce(min(changed.batch_id), chr(1114111))
  from (
    (select * from ({{ ingredients(source_name) }}) except select * from ({{ built() }}))
    union all
    (select * from ({{ built() }}) except select * from ({{ ingredients(source_name) }}))
  ) as changed
{%- endmacro %}

{# The source whose batches a model is built by: the one that it names to `new_batches` or whose `current_rows` it takes. #}
{% macro source_of_batches() -%}
  {%- set found = modules.re.search("new_batches\\(\\s*['\"](\\w+)['\"]", model.raw_code) -%}
  {%- set current = modules.re.search("current_rows\\(\\s*source\\(\\s*['\"]\\w+['\"]\\s*,\\s*['\"](\\w+)['\"]", model.raw_code) -%}
  {%- do return((found or current).group(1) if found or current else none) -%}
{%- endmacro %}

{#
  Takes what is stale out of an incremental table before it is built again, in the same transaction: a corrected batch
  may have lost all of its rows, and a held one must not stay in the history of those after it.
#}
{% macro without_stale_batches() -%}
  {%- set source_name = source_of_batches() -%}
  {%- if is_incremental() and source_name -%}
  {%- set stale = run_query("select 1 from (" ~ built() ~ ") where batch_id >= (" ~ first_stale_batch(source_name) ~ ") limit 1") -%}
  {%- if stale and stale.rows | length > 0 -%}
  delete from {{ this }} where batch_id >= ({{ first_stale_batch(source_name) }})
  {%- endif -%}
  {%- endif -%}
{%- endmacro %}

{# Writes down what the table is made of now, in the transaction that made it: first what it no longer is, ... #}
{% macro forget_built() -%}
  {%- set source_name = source_of_batches() -%}
  {%- if execute and source_name -%}
  {%- set gone = "(" ~ built() ~ ") except (" ~ ingredients(source_name) ~ ")" -%}
  {%- set found = run_query("select 1 from (" ~ gone ~ ") limit 1") -%}
  {%- if found and found.rows | length > 0 -%}
  delete from {{ target.database }}.ledger.built
  where model = '{{ this.schema }}.{{ this.identifier }}'
    and (source, batch_id, content_id) in (select (source, batch_id, content_id) from ({{ gone }}))
  {%- endif -%}
  {%- endif -%}
{%- endmacro %}

{# ... then what it is besides. #}
{% macro record_built() -%}
  {%- set source_name = source_of_batches() -%}
  {%- if execute and source_name -%}
  {%- set added = "(" ~ ingredients(source_name) ~ ") except (" ~ built() ~ ")" -%}
  {%- set found = run_query("select 1 from (" ~ added ~ ") limit 1") -%}
  {%- if found and found.rows | length > 0 -%}
  insert into {{ target.database }}.ledger.built
  select '{{ this.schema }}.{{ this.identifier }}', source, batch_id, content_id from ({{ added }})
  {%- endif -%}
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
