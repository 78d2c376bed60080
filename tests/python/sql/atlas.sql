-- Queries whose answers have to be DuckDB's, over the generated experiment of test_sql.py; `other` is a second one.
-- One statement each; where the last clause is ORDER BY or LIMIT, rows have to come in its order.

SELECT count(*) FROM obs;

SELECT count(*), count(tissue), count(DISTINCT tissue), count(age) FROM obs;

SELECT obs_id, cell_type, tissue, n_genes FROM obs WHERE n_genes > 900 ORDER BY obs_id;

SELECT tissue, count(*) AS n FROM obs GROUP BY tissue ORDER BY n DESC, tissue NULLS LAST;

SELECT tissue, grade, count(*) AS n, avg(n_genes) AS mean, min(n_genes) AS least, max(n_genes) AS most
FROM obs GROUP BY tissue, grade ORDER BY tissue NULLS LAST, grade NULLS LAST;

SELECT * FROM obs ORDER BY soma_joinid LIMIT 7;

SELECT obs_id, large FROM obs WHERE large > 4000000000000000000 ORDER BY large DESC LIMIT 5;

SELECT sum(CAST(large AS DOUBLE)), min(large), max(large) FROM obs;

SELECT obs_id FROM obs WHERE cell_type = 'B "cell"' AND tissue = 'lung' ORDER BY obs_id;

SELECT obs_id FROM obs WHERE tissue IN ('brain', 'unused', 'nowhere') ORDER BY obs_id DESC LIMIT 10;

SELECT count(*) FROM obs WHERE tissue NOT IN ('brain');

SELECT count(*) FROM obs WHERE tissue IS NULL OR doublet IS NULL;

SELECT count(*) FROM obs WHERE doublet;

SELECT count(*) FROM obs WHERE NOT doublet;

SELECT doublet, "primary", count(*) FROM obs GROUP BY doublet, "primary";

SELECT count(*) FROM obs WHERE doublet = "primary";

SELECT obs_id FROM obs WHERE (age > 25 OR age IS NULL) AND NOT "primary" ORDER BY obs_id LIMIT 12;

SELECT coalesce(age, -1) AS age, count(*) FROM obs GROUP BY coalesce(age, -1) ORDER BY age;

SELECT obs_id, CASE WHEN age IS NULL THEN 'unknown' WHEN age < 30 THEN 'young' ELSE 'old' END AS years
FROM obs ORDER BY obs_id LIMIT 20;

SELECT nullif(tissue, 'lung') AS elsewhere, count(*) FROM obs GROUP BY 1;

SELECT obs_id, score FROM obs WHERE score > 1.5 AND NOT isnan(score) ORDER BY score DESC;

SELECT count(*) FROM obs WHERE isnan(score);

SELECT count(*) FROM obs WHERE score = score;

SELECT donor FROM obs WHERE donor LIKE 'donor 1_' ORDER BY donor;

SELECT count(*) FROM obs WHERE cell_type LIKE '%cell%' AND note IS NOT NULL;

SELECT lower(cell_type) AS name, length(cell_type) AS letters, count(*) FROM obs GROUP BY 1, 2 ORDER BY 1;

SELECT DISTINCT tissue, grade FROM obs;

SELECT note, count(*) FROM obs GROUP BY note HAVING count(*) > 10 ORDER BY note NULLS LAST;

SELECT count(*) FROM obs WHERE note = '';

SELECT cluster, avg(fraction) AS mean, stddev(n_genes) AS spread FROM obs GROUP BY cluster ORDER BY cluster;

SELECT cluster + 1 AS next, count(*) FROM obs WHERE cluster BETWEEN 1 AND 3 GROUP BY 1 ORDER BY 1;

SELECT count(*), sum(soma_data), min(soma_data), max(soma_data) FROM X;

SELECT soma_dim_0, soma_dim_1, soma_data FROM X WHERE soma_dim_0 = 17 ORDER BY soma_dim_1;

SELECT soma_dim_0, soma_dim_1, soma_data FROM X WHERE soma_dim_0 BETWEEN 20 AND 22 AND soma_dim_1 IN (3, 5, 8, 39)
ORDER BY 1, 2;

SELECT count(*) FROM X WHERE soma_dim_0 % 7 = 3 AND soma_dim_1 < 10;

SELECT count(*) FROM X WHERE soma_dim_0 = -1 OR soma_dim_1 >= 1000;

SELECT cell_type, sum(soma_data) AS total, count(*) AS n
FROM X JOIN obs ON soma_dim_0 = soma_joinid WHERE tissue = 'lung' GROUP BY cell_type ORDER BY cell_type;

SELECT symbol, sum(soma_data) AS total FROM X JOIN var ON X.soma_dim_1 = var.soma_joinid
GROUP BY symbol ORDER BY total DESC, symbol LIMIT 5;

SELECT obs.tissue, var.symbol, avg(X.soma_data) AS mean, count(*) AS n
FROM X JOIN obs ON X.soma_dim_0 = obs.soma_joinid JOIN var ON X.soma_dim_1 = var.soma_joinid
WHERE obs.grade = 'high' AND var.length < 6
GROUP BY obs.tissue, var.symbol ORDER BY obs.tissue NULLS LAST, var.symbol;

SELECT obs_id, count(soma_data) AS n FROM obs LEFT JOIN X ON soma_joinid = soma_dim_0 AND soma_dim_1 = 4
GROUP BY obs_id ORDER BY n DESC, obs_id LIMIT 8;

SELECT obs_id FROM obs WHERE soma_joinid IN (SELECT soma_dim_0 FROM X WHERE soma_dim_1 = 2 AND soma_data > 3) ORDER BY obs_id;

SELECT count(*) FROM obs WHERE NOT EXISTS (SELECT 1 FROM X WHERE soma_dim_0 = obs.soma_joinid AND soma_dim_1 = 0);

WITH per_cell AS (SELECT soma_dim_0, sum(soma_data) AS total FROM X GROUP BY soma_dim_0),
     ranked AS (SELECT tissue, obs_id, total,
                       row_number() OVER (PARTITION BY tissue ORDER BY total DESC, obs_id) AS place
                FROM per_cell JOIN obs ON soma_dim_0 = soma_joinid)
SELECT tissue, obs_id, total, place FROM ranked WHERE place <= 3 ORDER BY tissue NULLS LAST, place;

SELECT obs_id, n_genes, avg(n_genes) OVER (ORDER BY soma_joinid ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS mean,
       lag(n_genes) OVER (ORDER BY soma_joinid) AS before
FROM obs ORDER BY soma_joinid LIMIT 15;

SELECT tissue, n_genes, rank() OVER (PARTITION BY tissue ORDER BY n_genes) AS place FROM obs
WHERE n_genes < 60 ORDER BY tissue NULLS LAST, n_genes;

SELECT tissue FROM obs UNION SELECT tissue FROM other.obs;

SELECT 'first' AS which, count(*) FROM obs UNION ALL SELECT 'second', count(*) FROM other.obs;

SELECT a.cell_type, a.n, b.n
FROM (SELECT cell_type, count(*) AS n FROM obs GROUP BY cell_type) AS a
FULL JOIN (SELECT cell_type, count(*) AS n FROM other.obs WHERE tissue = 'lung' GROUP BY cell_type) AS b
ON a.cell_type = b.cell_type;

SELECT count(*) FROM X AS a JOIN other.X AS b ON a.soma_dim_0 = b.soma_dim_0 AND a.soma_dim_1 = b.soma_dim_1;

SELECT grade FROM obs INTERSECT SELECT grade FROM other.obs WHERE n_genes > 500;

SELECT obs_id FROM obs EXCEPT SELECT obs_id FROM obs WHERE soma_joinid >= 10;

SELECT max(soma_joinid) - min(soma_joinid), count(*) FROM obs WHERE soma_joinid > 100 AND soma_joinid <= 200;

SELECT obs_id FROM obs WHERE n_genes > (SELECT avg(n_genes) + 450 FROM obs) ORDER BY obs_id;

SELECT CAST(n_genes AS DOUBLE) / 7 AS part, n_genes % 7 AS rest FROM obs ORDER BY soma_joinid LIMIT 9;


SELECT CAST('2024-02-28' AS DATE) + INTERVAL '2 days' > CAST('2024-02-29' AS DATE), date_part('year', CAST('2024-02-28' AS DATE));
