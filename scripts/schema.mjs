/** Writes `hub.schema.json`, the schema of a configuration file; a test says when it is out of date. */
import fs from "node:fs"
import { text } from "../src/server/JsonSchema.ts"

fs.writeFileSync(new URL("../hub.schema.json", import.meta.url), text())
