//! A session: the tables that are attached, and how much a query may take.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::dataframe::DataFrame;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::{SQLOptions, SessionContext};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::SessionConfig;
use futures_util::StreamExt;
use tokio::runtime::{Builder, Runtime};
use vacuole_anndata::write::TemporaryFolder;
use vacuole_explain::{Explained, Kind};

use crate::explained::explained;
use crate::statement::{refused, write_out};
use crate::tables::{Attached, Tables};
use crate::{CATALOG, MAIN};

/// How much a query may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Memory, in bytes. A quarter of it is for what is being read and written.
    pub memory: u64,
    /// Threads.
    pub threads: usize,
    /// Where what does not fit into memory is put.
    pub tmpdir: PathBuf,
}

/// Answers queries.
pub struct Session {
    // Before the folder, whose files it removes.
    context: SessionContext,
    runtime: Option<Runtime>,
    attached: Vec<(String, Arc<Tables>)>,
    _aside: TemporaryFolder,
}

impl Session {
    /// A session about these tables, of which the first need no name in front of theirs.
    ///
    /// # Errors
    /// Where the temporary folder cannot be made, or the system gives no threads.
    pub fn new(attached: Vec<(String, Arc<Tables>)>, limits: &Limits) -> Result<Self, Explained> {
        let aside = TemporaryFolder::beside(&limits.tmpdir.join("vacuole-sql-aside"))?;
        let disk = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![aside.path().to_owned()]))
            .with_max_temp_directory_size(u64::MAX);
        let memory = usize::try_from(limits.memory - limits.memory / 4).unwrap_or(usize::MAX);
        let environment = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(memory)))
            .with_disk_manager_builder(disk)
            .build_arc();
        let none = || Vec::new();
        let environment = environment.map_err(|error| explained(&error, "", &none))?;
        let mut config = SessionConfig::new()
            .with_default_catalog_and_schema(CATALOG, MAIN)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(true)
            .with_target_partitions(limits.threads);
        let options = &mut config.options_mut().sql_parser;
        // Columns are called nCount_RNA.
        options.enable_ident_normalization = false;
        options.map_string_types_to_utf8view = false;
        let context = SessionContext::new_with_config_rt(config, environment);
        context.register_catalog(CATALOG, Arc::new(Attached(attached.clone())));
        let runtime = Builder::new_multi_thread()
            .worker_threads(limits.threads)
            .thread_name("sql")
            .enable_all()
            .build()
            .map_err(|error| {
                let message = format!("the threads of the query cannot be started: {error}");
                let remedy = "ask for fewer by --jobs".to_owned();
                Explained { kind: Kind::Io, message, remedy, object: None }
            })?;
        Ok(Self { context, runtime: Some(runtime), attached, _aside: aside })
    }

    /// Begins to answer a query.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn ask<'a>(&'a self, query: &'a str) -> Result<Answer<'a>, Explained> {
        let Some(runtime) = &self.runtime else { return Err(ended()) };
        let stream = self.begin(runtime, query).map_err(|error| match error {
            Fault::Told(told) => told,
            Fault::DataFusion(error) => explained(&error, query, &|| self.names()),
        })?;
        Ok(Answer { session: self, runtime, query, stream })
    }

    fn begin(&self, runtime: &Runtime, query: &str) -> Result<SendableRecordBatchStream, Fault> {
        let state = self.context.state();
        let dialect = state.config().options().sql_parser.dialect;
        let mut statement = state.sql_to_statement(query, &dialect)?;
        if let Some(what) = refused(&statement) {
            let message = format!("query: expected one that only reads, found {what}");
            let remedy = "ask with SELECT; -o FILE writes what it finds".to_owned();
            let kind = Kind::InvalidInput;
            return Err(Fault::Told(Explained { kind, message, remedy, object: None }));
        }
        write_out(&mut statement, &|name| self.has(name));
        runtime.block_on(async {
            let plan = state.statement_to_plan(statement).await?;
            let reading = SQLOptions::new();
            let reading = reading.with_allow_ddl(false).with_allow_dml(false);
            reading.with_allow_statements(false).verify_plan(&plan)?;
            Ok(DataFrame::new(state, plan).execute_stream().await?)
        })
    }

    /// Whether a table goes by this name.
    fn has(&self, name: &[String]) -> bool {
        let (schema, name) = match name {
            [name] => (MAIN, name),
            [schema, name] => (schema.as_str(), name),
            [catalog, schema, name] if catalog == CATALOG => (schema.as_str(), name),
            _ => return false,
        };
        let tables = self.attached.iter().find(|(known, _)| known == schema);
        tables.is_some_and(|(_, tables)| matches!(tables.table(name), Ok(Some(_))))
    }

    /// The names of all tables, as a query has them.
    fn names(&self) -> Vec<String> {
        let all = self.attached.iter().flat_map(|(schema, tables)| {
            let names = tables.names().unwrap_or_default().into_iter();
            names.map(move |name| match schema == MAIN {
                true => name,
                false => format!("{schema}.{name}"),
            })
        });
        all.collect()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Who still reads notices that nobody listens; nobody waits for it.
            runtime.shutdown_background();
        }
    }
}

enum Fault {
    Told(Explained),
    DataFusion(DataFusionError),
}

impl From<DataFusionError> for Fault {
    fn from(error: DataFusionError) -> Self {
        Self::DataFusion(error)
    }
}

fn ended() -> Explained {
    Explained::invalid_input("query", "the session has ended")
}

/// The rows of an answer, as they are found.
pub struct Answer<'a> {
    session: &'a Session,
    runtime: &'a Runtime,
    query: &'a str,
    stream: SendableRecordBatchStream,
}

impl Answer<'_> {
    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        self.stream.schema()
    }
}

impl Iterator for Answer<'_> {
    type Item = Result<RecordBatch, Explained>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.runtime.block_on(self.stream.next())?;
        Some(next.map_err(|error| explained(&error, self.query, &|| self.session.names())))
    }
}
