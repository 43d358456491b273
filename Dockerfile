# The server and the worker; no torch, no GPU. Build the console first: python -m serve.console.build
FROM python:3.12-slim AS build
WORKDIR /src
COPY . .
RUN pip install --no-cache-dir --prefix=/opt/jiejing -c constraints.txt .

FROM python:3.12-slim
RUN useradd --system --uid 8311 --create-home --home-dir /var/lib/jiejing jiejing
COPY --from=build /opt/jiejing /usr/local
USER jiejing
WORKDIR /var/lib/jiejing
ENV JIEJING_DATA=/var/lib/jiejing PYTHONUNBUFFERED=1
EXPOSE 8311
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8311/health/ready', timeout=2)"]
ENTRYPOINT ["jiejing"]
CMD ["serve"]
