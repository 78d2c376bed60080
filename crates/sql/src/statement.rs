//! What a query says before it is planned: that it only reads, and that it may be in short form.

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, ObjectName, Query, SelectItem, SetExpr, Statement as Sql, TableFactor, TableWithJoins,
    WildcardAdditionalOptions,
};

/// What a statement would do that is not done here; none where it only reads.
pub(crate) fn refused(statement: &Statement) -> Option<String> {
    match statement {
        Statement::Explain(explain) => refused(&explain.statement),
        Statement::Statement(sql) => refused_sql(sql),
        Statement::CreateExternalTable(_) => Some("CREATE".to_owned()),
        Statement::CopyTo(_) => Some("COPY".to_owned()),
        Statement::Reset(_) => Some("RESET".to_owned()),
    }
}

fn refused_sql(sql: &Sql) -> Option<String> {
    let reads = match sql {
        Sql::Query(query) => return refused_query(query),
        Sql::Explain { statement, .. } => return refused_sql(statement),
        Sql::ExplainTable { .. } | Sql::ShowTables { .. } | Sql::ShowColumns { .. } => true,
        // SHOW FUNCTIONS and the like; settings are shown, not made.
        Sql::ShowFunctions { .. } | Sql::ShowVariable { .. } => true,
        _ => false,
    };
    let word = || sql.to_string().split_whitespace().next().unwrap_or_default().to_uppercase();
    (!reads).then(word)
}

/// A query may write in some dialects, as `WITH ... INSERT` and `SELECT ... INTO`.
fn refused_query(query: &Query) -> Option<String> {
    let mut inner = query.with.iter().flat_map(|with| &with.cte_tables);
    let within = inner.find_map(|table| refused_query(&table.query));
    within.or_else(|| refused_set(&query.body))
}

fn refused_set(body: &SetExpr) -> Option<String> {
    match body {
        SetExpr::Select(select) => select.into.as_ref().map(|_| "SELECT INTO".to_owned()),
        SetExpr::Query(query) => refused_query(query),
        SetExpr::SetOperation { left, right, .. } => {
            refused_set(left).or_else(|| refused_set(right))
        }
        SetExpr::Values(_) | SetExpr::Table(_) => None,
        SetExpr::Insert(sql)
        | SetExpr::Update(sql)
        | SetExpr::Delete(sql)
        | SetExpr::Merge(sql) => refused_sql(sql),
    }
}

/// Writes out the short form `SELECT obs WHERE ...`, which is `SELECT * FROM obs WHERE ...`: a query whose whole list is one
/// name, that of a table, and that says of no table where to look.
pub(crate) fn write_out(statement: &mut Statement, is_table: &dyn Fn(&[String]) -> bool) {
    match statement {
        Statement::Explain(explain) => write_out(&mut explain.statement, is_table),
        Statement::Statement(sql) => match &mut **sql {
            Sql::Query(query) => of_set(&mut query.body, is_table),
            Sql::Explain { statement, .. } => {
                if let Sql::Query(query) = &mut **statement {
                    of_set(&mut query.body, is_table);
                }
            }
            _ => {}
        },
        _ => {}
    }
}

fn of_set(body: &mut SetExpr, is_table: &dyn Fn(&[String]) -> bool) {
    let select = match body {
        SetExpr::Select(select) => select,
        SetExpr::Query(query) => return of_set(&mut query.body, is_table),
        SetExpr::SetOperation { left, right, .. } => {
            of_set(left, is_table);
            return of_set(right, is_table);
        }
        _ => return,
    };
    if !select.from.is_empty() || select.distinct.is_some() {
        return;
    }
    let name = match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(Expr::Identifier(name))] => vec![name.clone()],
        [SelectItem::UnnamedExpr(Expr::CompoundIdentifier(names))] => names.clone(),
        _ => return,
    };
    if !is_table(&name.iter().map(|part| part.value.clone()).collect::<Vec<_>>()) {
        return;
    }
    let relation = TableFactor::Table {
        name: ObjectName::from(name),
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    };
    select.from = vec![TableWithJoins { relation, joins: Vec::new() }];
    select.projection = vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())];
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::parser::DFParser;

    fn parsed(sql: &str) -> Statement {
        DFParser::parse_sql(sql).unwrap().pop_front().unwrap()
    }

    #[test]
    fn the_short_form_is_one_name_of_a_table() {
        let is_table = |name: &[String]| {
            matches!(name, [name] if name == "obs")
                || *name == ["other".to_owned(), "obs".to_owned()]
        };
        for (short, long) in [
            ("SELECT obs WHERE obs.a = 1", "SELECT * FROM obs WHERE obs.a = 1"),
            ("SELECT \"obs\" LIMIT 2", "SELECT * FROM \"obs\" LIMIT 2"),
            ("EXPLAIN SELECT obs", "EXPLAIN SELECT * FROM obs"),
            ("SELECT other.obs", "SELECT * FROM other.obs"),
            ("SELECT obs UNION ALL SELECT obs", "SELECT * FROM obs UNION ALL SELECT * FROM obs"),
        ] {
            let mut statement = parsed(short);
            write_out(&mut statement, &is_table);
            assert_eq!(statement.to_string(), parsed(long).to_string(), "{short}");
        }
        for kept in [
            "SELECT obs FROM t",
            "SELECT obs, a",
            "SELECT obs AS a",
            "SELECT DISTINCT obs",
            "SELECT var WHERE var.a = 1",
            "SELECT 1",
            "SELECT a FROM (SELECT obs)",
        ] {
            let mut statement = parsed(kept);
            write_out(&mut statement, &is_table);
            assert_eq!(statement.to_string(), parsed(kept).to_string());
        }
    }

    #[test]
    fn what_writes_is_refused() {
        for (sql, expected) in [
            ("SELECT 1", None),
            ("WITH a AS (SELECT 1) SELECT * FROM a", None),
            ("EXPLAIN SELECT 1", None),
            ("SHOW TABLES", None),
            ("DESCRIBE obs", None),
            ("VALUES (1)", None),
            ("INSERT INTO obs VALUES (1)", Some("INSERT")),
            ("EXPLAIN INSERT INTO obs VALUES (1)", Some("INSERT")),
            ("SELECT 1 INTO a", Some("SELECT INTO")),
            ("UPDATE obs SET a = 1", Some("UPDATE")),
            ("DELETE FROM obs", Some("DELETE")),
            ("DROP TABLE obs", Some("DROP")),
            ("CREATE TABLE a AS SELECT 1", Some("CREATE")),
            ("CREATE EXTERNAL TABLE a STORED AS CSV LOCATION 'a'", Some("CREATE")),
            ("COPY obs TO 'a.csv'", Some("COPY")),
            ("SET a = 1", Some("SET")),
        ] {
            assert_eq!(refused(&parsed(sql)).as_deref(), expected, "{sql}");
        }
    }
}
