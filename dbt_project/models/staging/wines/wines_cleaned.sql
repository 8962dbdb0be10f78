{{ config(alias='wines') }}

-- two analyses may well agree in every figure, so batch and row number name one
select
    batch_id,
    row_number,
    alcohol as alcohol_percent,
    malic_acid,
    ash,
    alcalinity_of_ash,
    magnesium,
    total_phenols,
    flavanoids,
    nonflavanoid_phenols,
    proanthocyanins,
    color_intensity,
    hue,
    od280_od315 as od280_od315_ratio,
    proline,
    -- from which vine: known, and kept from the features, so that it can be held against the clusters found
    cultivar
from {{ source('wines_raw', 'wines') }}
where {{ new_batches('wines') }}
