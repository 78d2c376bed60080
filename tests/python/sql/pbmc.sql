-- The same over 700 real cells. Of files the tables that have a path in the experiment have the path that they have there.

SELECT bulk_labels, count(*) AS n, avg(n_genes) AS genes, avg(percent_mito) AS mito FROM obs GROUP BY bulk_labels ORDER BY n DESC, bulk_labels;

SELECT phase, louvain, count(*) FROM obs GROUP BY phase, louvain;

SELECT sum(soma_data), max(soma_data), min(soma_data) FROM X;

SELECT soma_dim_1, soma_data FROM X WHERE soma_dim_0 = 13 AND soma_dim_1 BETWEEN 700 AND 720 ORDER BY soma_dim_1;

SELECT bulk_labels, sum(soma_data) AS total FROM X JOIN obs ON soma_dim_0 = obs.soma_joinid
JOIN var ON soma_dim_1 = var.soma_joinid WHERE var.n_counts > 400 GROUP BY bulk_labels ORDER BY bulk_labels;

SELECT bulk_labels, count(*) AS n, sum(soma_data) AS total FROM "ms/raw/X/data" JOIN obs ON soma_dim_0 = soma_joinid
WHERE bulk_labels LIKE 'CD4%' GROUP BY bulk_labels ORDER BY bulk_labels;

SELECT v.var_id, count(*) AS n FROM "ms/raw/X/data" AS x JOIN "ms/raw/var" AS v ON x.soma_dim_1 = v.soma_joinid
GROUP BY v.var_id ORDER BY n DESC, v.var_id LIMIT 10;

SELECT bulk_labels, avg(soma_data) AS mean FROM "ms/RNA/obsm/X_pca" JOIN obs ON soma_dim_0 = soma_joinid
WHERE soma_dim_1 = 0 GROUP BY bulk_labels ORDER BY bulk_labels;

SELECT a.soma_dim_0, a.soma_data, b.soma_data FROM "ms/RNA/obsm/X_umap" AS a JOIN "ms/RNA/obsm/X_umap" AS b
ON a.soma_dim_0 = b.soma_dim_0 WHERE a.soma_dim_1 = 0 AND b.soma_dim_1 = 1 AND a.soma_dim_0 < 5 ORDER BY 1;

SELECT count(*), max(soma_data) FROM "ms/RNA/obsp/connectivities" WHERE soma_dim_0 < soma_dim_1;

SELECT o.bulk_labels = n.bulk_labels AS alike, count(*) FROM "ms/RNA/obsp/distances" JOIN obs AS o ON soma_dim_0 = o.soma_joinid
JOIN obs AS n ON soma_dim_1 = n.soma_joinid GROUP BY 1;
