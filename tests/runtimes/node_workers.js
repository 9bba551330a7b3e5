// Node: worker_threads, Atomics, fs promises (libuv's pool), dns, crypto, zlib, child processes, http.
'use strict';
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');

if (!isMainThread) {
    const words = new Int32Array(workerData.shared);
    for (let i = 0; i < 1000; i++) Atomics.add(words, 0, 1);
    Atomics.wait(words, 1, 0, 20000);
    parentPort.on('message', (n) => {
        if (n === null) parentPort.close();
        else parentPort.postMessage(n * n);
    });
} else {
    main().catch((error) => { console.error(error); process.exit(1); });
}

function worker(shared, count) {
    return new Promise((resolve, reject) => {
        let sum = 0, left = count;
        const thread = new Worker(__filename, { workerData: { shared } });
        thread.on('message', (n) => { sum += n; if (--left === 0) thread.postMessage(null); });
        thread.on('error', reject);
        thread.on('exit', (code) => resolve(sum + code));
        for (let i = 0; i < count; i++) thread.postMessage(i);
    });
}

async function main() {
    const fs = require('fs').promises, os = require('os'), path = require('path');
    const shared = new SharedArrayBuffer(8), words = new Int32Array(shared);
    const threads = Array.from({ length: 6 }, () => worker(shared, 50));
    setTimeout(() => { Atomics.store(words, 1, 1); Atomics.notify(words, 1); }, 50);
    const sums = await Promise.all(threads);
    console.log('workers', sums.join(), Atomics.load(words, 0));

    const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'node-'));
    await Promise.all(Array.from({ length: 100 }, (_, i) => fs.writeFile(path.join(folder, `${i}`), 'x'.repeat(i))));
    const sizes = await Promise.all((await fs.readdir(folder)).map(async (f) => (await fs.stat(path.join(folder, f))).size));
    console.log('files', sizes.length, sizes.reduce((a, b) => a + b));
    await fs.rm(folder, { recursive: true });

    const crypto = require('crypto'), zlib = require('zlib'), { promisify } = require('util');
    const keys = await Promise.all(Array.from({ length: 8 }, (_, i) => promisify(crypto.pbkdf2)(`p${i}`, 's', 2000, 16, 'sha256')));
    console.log('keys', crypto.createHash('md5').update(Buffer.concat(keys)).digest('hex'));
    const packed = await Promise.all(Array.from({ length: 8 }, () => promisify(zlib.gzip)('a'.repeat(100000))));
    console.log('unpacked', (await Promise.all(packed.map((p) => promisify(zlib.gunzip)(p)))).every((b) => b.length === 100000));
    console.log('dns', (await require('dns').promises.lookup('localhost', { family: 4 })).address);

    const http = require('http');
    const server = http.createServer((request, response) => response.end(request.url.toUpperCase()));
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const get = (url) => new Promise((resolve, reject) => http.get({ port: server.address().port, host: '127.0.0.1', path: url }, (r) => {
        let text = '';
        r.on('data', (d) => text += d).on('end', () => resolve(text));
    }).on('error', reject));
    const replies = await Promise.all(Array.from({ length: 50 }, (_, i) => get(`/page${i}`)));
    console.log('http', replies.every((text, i) => text === `/PAGE${i}`));
    server.close();
    server.closeAllConnections();

    const child = require('child_process');
    const outputs = await Promise.all(Array.from({ length: 6 }, (_, i) => promisify(child.exec)(`echo ${i}`)));
    console.log('exec', outputs.map((o) => o.stdout.trim()).join());
    console.log('spawnSync', child.spawnSync('cat', { input: 'in' }).stdout.toString());
    process.on('SIGUSR2', () => { console.log('signal'); process.exitCode = 4; clearInterval(keep); });
    const keep = setInterval(() => {}, 1000);
    process.kill(process.pid, 'SIGUSR2');
}
