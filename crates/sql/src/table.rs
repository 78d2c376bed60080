//! Tables as DataFusion sees them.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::TableType;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;

use crate::rows::Rows;
use crate::scan::Scan;

/// A table and its name. Conditions come to its scan when the plan is made.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) name: Arc<str>,
    pub(crate) rows: Arc<dyn Rows>,
}

#[async_trait]
impl TableProvider for Table {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.rows.schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all = || (0..self.rows.schema().fields().len()).collect();
        let columns = projection.cloned().unwrap_or_else(all);
        let (name, rows) = (Arc::clone(&self.name), Arc::clone(&self.rows));
        Ok(Arc::new(Scan::new(name, rows, columns, limit)))
    }
}
