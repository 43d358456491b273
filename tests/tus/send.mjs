// Sends files with the stock client: node send.mjs '{"endpoint", "files": [{"path", "metadata"}], "chunkSize", …}'.
// Prints one JSON line per file: {"path", "url"} or {"path", "error"}. Unfinished uploads are found again in urlStorage.
import fs from 'node:fs'
import * as tus from 'tus-js-client'

const { endpoint, files, chunkSize, creation, storage, tries } = JSON.parse(process.argv[2])
const urlStorage = storage ? new tus.FileUrlStorage(storage) : undefined

async function send({ path, metadata }) {
  const said = await new Promise((resolve) => {
    const upload = new tus.Upload(fs.createReadStream(path), {
      endpoint,
      metadata,
      chunkSize,
      urlStorage,
      storeFingerprintForResuming: Boolean(urlStorage),
      removeFingerprintOnSuccess: true,
      uploadDataDuringCreation: creation,
      retryDelays: new Array(tries).fill(150),
      onError: (error) => resolve({ path, error: String(error.originalResponse?.getBody() || error) }),
      onSuccess: () => resolve({ path, url: upload.url }),
    })
    upload.findPreviousUploads().then((before) => {
      if (before.length) upload.resumeFromPreviousUpload(before[0])
      upload.start()
    })
  })
  console.log(JSON.stringify(said))
}

for (const file of files) await send(file)
