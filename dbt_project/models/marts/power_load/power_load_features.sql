{{ config(alias='power_load') }}

{#-
  A forecast of a whole year is asked for at its 1 January 00:00, so every feature looks at days before that year only.
  Levels and profiles need whole years: of a partial one, the days that are there would speak for the rest.
  Computed dates are materialized before they are joined: DuckDB would make a cross product of them first.
-#}
{%- set whole_year_days, years_back, days_around, nearest_days = 300, 5, 10, 3 -%}

with spine as (

    select
        batch_id,
        day,
        year(day) as target_year,
        date_trunc('year', day) as forecast_made_at,
        -- the same weekday 52 weeks before; of a year's last days that would be its own first ones
        case when day - interval 364 days < date_trunc('year', day) then 364 else 728 end as lag_days
    from {{ ref('power_load_cleaned') }}
    where {{ new_batches('power_load') }}

),

history as (

    -- means are over decimals: their sums are exact, so the order in which rows are added does not matter
    select day, year(day) as year, known_at, load_mwh::decimal(18, 6) as load_mwh
    from {{ ref('power_load_cleaned') }}
    where load_mwh is not null

),

{{ italian_calendar('calendar', '(select min(year) from history)',
                    'greatest((select max(year) from history), (select max(target_year) from spine))') }},

levels as (

    select year, avg(load_mwh) as mean_mwh
    from history
    group by year
    having count(*) >= {{ whole_year_days }}

),

newest as (

    -- of each target year, what was known when its forecast was made
    select
        target_year,
        max(known_at) as known_at,
        max_by(levels.mean_mwh, levels.year) as level_mwh
    from (select distinct target_year, forecast_made_at from spine)
    join history on history.day < forecast_made_at
    left join levels on levels.year = history.year
    group by target_year

),

lag_dates as materialized (

    select day, steps, day - to_days((lag_days + 364 * steps)::int) as earlier_day
    from spine
    cross join (select unnest(range(3)) as steps)

),

lags as (

    select
        lag_dates.day,
        avg(load_mwh) filter (where steps = 0) as load_same_weekday_mwh,
        avg(load_mwh) as load_same_weekday_3y_mwh
    from lag_dates
    join history on history.day = earlier_day
    group by lag_dates.day

),

last_weeks as (

    -- the newest four days of the same weekday before the year
    select spine.day, avg(load_mwh) as load_last_4_weeks_mwh
    from spine
    join history
        on history.day < forecast_made_at
        and history.day >= forecast_made_at - interval 28 days
        and isodow(history.day) = isodow(spine.day)
    group by spine.day

),

relative as materialized (

    select history.day, history.year, occasion, weekday, day_kind, part_of_year, (load_mwh / mean_mwh)::decimal(18, 15) as share_of_level
    from history
    join levels using (year)
    join calendar on calendar.day = history.day

),

spine_calendar as materialized (

    select spine.*, weekday, occasion, day_kind, part_of_year, days_to_holiday
    from spine
    join calendar on calendar.day = spine.day

),

dates_around as materialized (

    -- the same date in each of the years before and the days around it; 29 February is 28 there
    select
        * exclude (occasion, days_to_holiday),
        target_year - years_before as year,
        day - to_years(years_before::int) + to_days(days_away::int) as earlier_day
    from spine_calendar
    cross join (select unnest(range(1, {{ years_back + 1 }})) as years_before)
    cross join (select unnest(range(-{{ days_around }}, {{ days_around + 1 }})) as days_away)
    where occasion is null

),

comparable_days as (

    -- a holiday is compared with itself, whatever weekday it was
    select spine_calendar.day, relative.year, share_of_level
    from spine_calendar
    join relative using (occasion)
    where relative.year between target_year - {{ years_back }} and target_year - 1

    union all

    -- any other day with those of the same weekday around its date that are as it is
    select dates_around.day, dates_around.year, share_of_level
    from dates_around
    join relative
        on relative.day = earlier_day
        and relative.weekday = dates_around.weekday
        and relative.part_of_year = dates_around.part_of_year
    where relative.day_kind in (dates_around.day_kind, 'ordinary')
      and earlier_day < forecast_made_at
    qualify row_number() over (
        partition by dates_around.day, dates_around.year order by abs(days_away), earlier_day
    ) <= {{ nearest_days }}

),

profile as (

    -- each year counts the same
    select day, avg(share_of_level) as share_of_level
    from (
        select day, year, avg(share_of_level)::decimal(18, 15) as share_of_level from comparable_days group by day, year
    )
    group by day

)

select
    -- ids
    spine.batch_id,

    -- times
    spine.day,
    spine.forecast_made_at,
    newest.known_at,

    -- the calendar, which is known for ever
    spine.target_year,
    spine.weekday::varchar as weekday,
    dayofyear(spine.day) as day_of_year,
    spine.day_kind,
    spine.part_of_year,
    spine.days_to_holiday,

    -- the years before; null where there were none
    load_same_weekday_mwh,
    load_same_weekday_3y_mwh,
    load_last_4_weeks_mwh,
    profile.share_of_level * newest.level_mwh as load_profile_mwh
from spine_calendar as spine
left join newest using (target_year)
left join lags on lags.day = spine.day
left join last_weeks on last_weeks.day = spine.day
left join profile on profile.day = spine.day
