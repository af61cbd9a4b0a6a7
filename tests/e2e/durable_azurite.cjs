// Azurite writes its databases every five seconds, so that a kill takes back what it acknowledged,
// which Azure never does. Loaded before it, this lets no change be answered before it is written.
const { ServerResponse } = require("http");
const Loki = require(require.resolve("lokijs", { paths: [process.argv[1]] }));

const databases = new Set();
for (const method of ["loadDatabase", "saveDatabase"]) {
  const original = Loki.prototype[method];
  Loki.prototype[method] = function (...given) {
    databases.add(this);
    return original.apply(this, given);
  };
}

const { end } = ServerResponse.prototype;
ServerResponse.prototype.end = function (...given) {
  if (["GET", "HEAD"].includes(this.req.method)) {
    return end.apply(this, given);
  }
  const saved = [...databases].map((database) => new Promise((done) => database.saveDatabase(done)));
  Promise.all(saved).then(() => end.apply(this, given));
  return this;
};
