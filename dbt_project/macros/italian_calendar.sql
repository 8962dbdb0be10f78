{#
  Easter Sundays of the Gregorian calendar: a query with `year` and `easter_sunday`, from a relation with `year`.

  The anonymous algorithm (Nature, 20 April 1876), as in Meeus, Astronomical Algorithms (1991), chapter 8.
#}
{% macro gregorian_easter(years) -%}
  select year, make_date(year, days // 31, days % 31 + 1) as easter_sunday
  from (
    select
      year,
      year % 19 as a,
      year // 100 as b,
      year % 100 as c,
      (19 * a + b - b // 4 - (b - (b + 8) // 25 + 1) // 3 + 15) % 30 as h,
      (32 + 2 * (b % 4) + 2 * (c // 4) - h - c % 4) % 7 as l,
      h + l - 7 * ((a + 11 * h + 22 * l) // 451) + 114 as days
    from {{ years }}
  )
{%- endmacro %}

{#
  The Italian calendar as CTEs, the last of them `<name>`: one row per day from `first_year` to `last_year` (SQL scalars).

  day             date
  weekday         1 Monday to 7 Sunday
  occasion        name of the national holiday or of the eve; null on other days
  day_kind        holiday, eve (24 and 31 December), bridge (a Monday before or a Friday after a holiday) or ordinary
  part_of_year    christmas (24 December to 6 January), early_august, ferragosto (8 to 21 August), late_august, ordinary
  days_to_holiday distance to the nearest holiday, before or after, at most 15
#}
{% macro italian_calendar(name, first_year, last_year) -%}
{{ name }}_years as (
  -- a year more at each side, as a holiday beyond the end of a year may be the nearest
  select unnest(range({{ first_year }} - 1, {{ last_year }} + 2)) as year
),
{{ name }}_easter as (
  {{ gregorian_easter(name ~ '_years') }}
),
{{ name }}_holidays as (
  select make_date(year, month, day_of_month) as day, occasion
  from {{ name }}_years
  cross join (
    values
      (1, 1, 'new_year'), (1, 6, 'epiphany'), (4, 25, 'liberation'), (5, 1, 'labour'), (6, 2, 'republic'),
      (8, 15, 'ferragosto'), (11, 1, 'all_saints'), (12, 8, 'immaculate_conception'), (12, 25, 'christmas'),
      (12, 26, 'saint_stephen')
  ) as fixed (month, day_of_month, occasion)
  union all
  select easter_sunday, 'easter' from {{ name }}_easter
  union all
  select easter_sunday + 1, 'easter_monday' from {{ name }}_easter
),
{{ name }}_days as (
  select
    days.day,
    isodow(days.day) as weekday,
    -- Easter Monday of 2011 was the day of liberation, too
    min(holidays.occasion) as holiday
  from (
    select unnest(generate_series(make_date(min(year), 1, 1), make_date(max(year), 12, 31), interval 1 day))::date as day
    from {{ name }}_years
  ) as days
  left join {{ name }}_holidays as holidays using (day)
  group by days.day
),
{{ name }} as (
  select
    day,
    weekday,
    case
      when holiday is not null then holiday
      when month(day) = 12 and dayofmonth(day) = 24 then 'christmas_eve'
      when month(day) = 12 and dayofmonth(day) = 31 then 'new_years_eve'
    end as occasion,
    case
      when holiday is not null then 'holiday'
      when month(day) = 12 and dayofmonth(day) in (24, 31) then 'eve'
      when weekday = 1 and lead(holiday) over by_day is not null then 'bridge'
      when weekday = 5 and lag(holiday) over by_day is not null then 'bridge'
      else 'ordinary'
    end as day_kind,
    case
      when (month(day) = 12 and dayofmonth(day) >= 24) or (month(day) = 1 and dayofmonth(day) <= 6) then 'christmas'
      when month(day) <> 8 then 'ordinary'
      when dayofmonth(day) <= 7 then 'early_august'
      when dayofmonth(day) <= 21 then 'ferragosto'
      else 'late_august'
    end as part_of_year,
    least(
      15,
      coalesce(day - max(case when holiday is not null then day end) over (order by day), 15),
      coalesce(min(case when holiday is not null then day end) over (order by day desc) - day, 15)
    )::bigint as days_to_holiday
  from {{ name }}_days
  window by_day as (order by day)
)
{%- endmacro %}
